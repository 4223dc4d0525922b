// The site's theme is VitePress' own, with three parts for predictions, one for recordings, and with marked lines in the sources.

import DefaultTheme from 'vitepress/theme-without-fonts'
import { onMounted, watch } from 'vue'
import { useRoute } from 'vitepress'
import '../../data/code.css'
import './style.css'
import Predict from './Predict.vue'
import Verdict from './Verdict.vue'
import Score from './Score.vue'
import Recording from './Recording.vue'

// Marks the lines that an address names: #L12 or #L12-L20. An empty line of a comment is not there: the line before it
// counts instead.
function markLines(hash) {
  document.querySelectorAll('.hit').forEach((line) => line.classList.remove('hit'))
  const range = /^#L(\d+)(?:-L(\d+))?$/.exec(hash)
  if (!range) {
    return
  }
  let first = Number(range[1])
  while (first > 1 && !document.getElementById(`L${first}`)) {
    --first
  }
  for (let n = first; n <= Number(range[2] ?? first); ++n) {
    document.getElementById(`L${n}`)?.classList.add('hit')
  }
  if (`#L${first}` !== hash) { // no element has this name, so the browser has not scrolled
    document.getElementById(`L${first}`)?.scrollIntoView({ block: 'center' })
  }
}

// A link may lead into a fold.
function unfold(hash) {
  const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)))
  for (let fold = target && target.closest('details'); fold; fold = fold.parentElement.closest('details')) {
    fold.open = true
  }
}

export default {
  extends: DefaultTheme,
  enhanceApp({ app, router }) {
    // A source is in its page's HTML and nowhere else, so such a page is loaded whole.
    router.onBeforePageLoad = (to) => {
      if (import.meta.env.SSR) {
        return
      }
      const { pathname, href } = new URL(to, location.href)
      const [, address] = /\/(source\/.*?)(?:\.html)?$/.exec(pathname) ?? []
      const wanted = address?.replace(/\/$/, '/index')
      if (wanted && document.querySelector('article[data-source]')?.dataset.source !== wanted) {
        location.pathname === pathname ? location.reload() : location.assign(href)
        return false
      }
    }
    app.component('Predict', Predict)
    app.component('Verdict', Verdict)
    app.component('Score', Score)
    app.component('Recording', Recording)
  },
  setup() {
    const route = useRoute()
    const arrive = () => {
      unfold(location.hash)
      markLines(location.hash)
    }
    onMounted(() => {
      arrive()
      addEventListener('hashchange', arrive)
      watch(() => [route.path, route.hash], () => setTimeout(arrive), { flush: 'post' })
    })
  },
}
