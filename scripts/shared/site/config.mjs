// config.mjs -- what VitePress is told. scripts/shared/site/pages.py lays out the pages beforehand.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { postcssIsolateStyles } from 'vitepress'

const base = process.env.SITE_BASE || '/'
const folder = dirname(dirname(fileURLToPath(import.meta.url)))
const { sidebar, sources } = JSON.parse(readFileSync(join(folder, 'data', 'site.json'), 'utf8'))

// ---- Blocks of code. Highlighting is slow, and the search needs it not at all: what was highlighted is kept.

const kept = join(folder, 'highlighted')
mkdirSync(kept, { recursive: true })
let searching = false

function remember(md) {
  const highlight = md.options.highlight
  md.options.highlight = (code, language, attributes) => {
    if (searching) {
      return `<pre>${md.utils.escapeHtml(code)}</pre>`
    }
    const name = createHash('sha256').update(`${language}\n${attributes}\n${code}`).digest('hex').slice(0, 32)
    const path = join(kept, name)
    if (existsSync(path)) {
      return readFileSync(path, 'utf8')
    }
    const result = highlight(code, language, attributes)
    writeFileSync(path, result)
    return result
  }
}

// A block of source leads to its lines: ```cpp from=source/04_generators:stages/04_generators.cpp:12-20
function nameLines(md) {
  const fence = md.renderer.rules.fence
  md.renderer.rules.fence = (tokens, index, ...rest) => {
    const from = /from=(\S+?):(\S+):(\d+)-(\d+)/.exec(tokens[index].info)
    tokens[index].info = tokens[index].info.replace(/ from=\S+/, '')
    const block = fence(tokens, index, ...rest)
    return from ? `<div class="from"><a href="${base}${from[1]}.html#L${from[3]}-L${from[4]}">${from[2]}, lines ${from[3]} to ${from[4]}</a></div>${block}` : block
  }
}

// The name of a source, as code in a text, leads to it.
function nameSources(md) {
  const code = md.renderer.rules.code_inline
  md.renderer.rules.code_inline = (tokens, index, ...rest) => {
    const shown = code(tokens, index, ...rest)
    const address = sources[tokens[index].content]
    let depth = 0
    tokens.slice(0, index).forEach(({ type }) => { depth += type === 'link_open' ? 1 : type === 'link_close' ? -1 : 0 })
    return address && depth === 0 ? `<a href="${base}${address}.html">${shown}</a>` : shown
  }
}

// A wide table scrolls by itself, and can be reached by keyboard.
function wrapTables(md) {
  md.renderer.rules.table_open = () => '<div class="table" tabindex="0" role="region" aria-label="Table">\n<table>\n'
  md.renderer.rules.table_close = () => '</table>\n</div>\n'
}

// Two parts of VitePress' theme, mended for keyboards and screen readers: the heading of a part of the side bar is no button
// around another button, that button says what it does, and the search's button shows what it is called.
const mends = {
  'VPSidebarItem.vue': [
    ["(isLink.value ? undefined : 'button')", 'undefined'],
    [':tabindex="item.items && 0"', ''],
    ['aria-label="toggle section"', ':aria-label="`What is below: ${item.text}`" :aria-expanded="!collapsed" @keydown.space.prevent="toggle"'],
  ],
  // Like the other key's name, that of this one comes from the style.
  'VPNavBarSearchButton.vue': [['<kbd class="DocSearch-Button-Key">K</kbd>', '<kbd class="DocSearch-Button-Key"></kbd>']],
}
const mendTheme = {
  name: 'mend-theme',
  enforce: 'pre',
  transform(code, id) {
    for (const [from, to] of mends[basename(id)] ?? []) {
      if (!code.includes(from)) {
        throw new Error(`VitePress has another ${basename(id)} now: look whether it still needs to be mended`)
      }
      code = code.replace(from, to)
    }
    return code
  },
}

const icon = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M2 3h9M2 8h12M2 13h6" stroke="#0b57d0" stroke-width="3" stroke-linecap="round"/></svg>'

export default {
  lang: 'en-GB',
  title: 'Concurrency from the ground up',
  description: 'One tiny TCP service, written again and again in C++20. Each version adds one idea about concurrency.',
  base,
  srcDir: 'pages',
  cacheDir: 'cache',
  metaChunk: true,
  router: { prefetchLinks: false },
  head: [['link', { rel: 'icon', href: `data:image/svg+xml,${encodeURIComponent(icon)}` }]],
  lastUpdated: false,
  markdown: {
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
    languageAlias: { console: 'shellsession' },
    // As on forges: letters, digits, - and _ of a heading, and -1 if there were two.
    anchor: { slugify: (text) => text.trim().toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-'), uniqueSlugStartIndex: 1 },
    config(md) {
      remember(md)
      nameLines(md)
      nameSources(md)
      wrapTables(md)
    },
  },
  themeConfig: {
    siteTitle: 'Concurrency in C++',
    nav: [
      { text: 'Stages', link: '/01_blocking', activeMatch: '^/\\d' },
      { text: 'Sources', link: '/source/', activeMatch: '^/source/' },
      { text: 'Words', link: '/glossary' },
    ],
    sidebar,
    outline: { level: [2, 3] },
    docFooter: { prev: 'Before', next: 'Next' },
    search: {
      provider: 'local',
      options: {
        _render(text, env, md) {
          const path = join(folder, 'search', env.relativePath.replace(/\.md$/, '.html'))
          if (existsSync(path)) {
            return readFileSync(path, 'utf8')
          }
          searching = true
          const html = md.render(text, env)
          searching = false
          return env.frontmatter?.search === false ? '' : html
        },
        miniSearch: {
          // An underscore is part of a name, but a part of the name finds it as well.
          options: { tokenize: (text) => text.split(/[\s\p{Z}\p{P}\p{S}]+/u).flatMap((word) => word).concat(text.match(/\w*_\w*/g) ?? []) },
          searchOptions: { fuzzy: 0.1, prefix: true, boost: { title: 4, text: 2, titles: 1 } },
        },
      },
    },
  },
  // The annotated sources are large, and nothing in them is for Vue: they come into the finished pages.
  transformHtml: (html) => html.replace(/(<article [^>]*data-source="([^"]+)"[^>]*>)<\/article>/,
    (_, open, address) => `${open}${readFileSync(join(folder, 'sources', `${address}.html`), 'utf8')}</article>`),
  vite: {
    plugins: [mendTheme],
    css: { postcss: { plugins: [postcssIsolateStyles({ includeFiles: [/vp-doc\.css/] })] } },
    build: { chunkSizeWarningLimit: 4000, reportCompressedSize: false },
    // What is installed is here, whichever folder the pages are in.
    server: { fs: { allow: [folder] } },
  },
}
