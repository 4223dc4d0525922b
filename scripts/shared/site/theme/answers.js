// What the reader has answered on a page: by the question's number, { said, right }. It stays on this device. If the
// browser refuses to keep it, it holds until the page is left.

import { reactive } from 'vue'

const pages = reactive({})
const key = (page) => `predict/${page}`

export function answersOf(page) {
  if (!pages[page]) {
    pages[page] = {}
    try {
      pages[page] = JSON.parse(localStorage.getItem(key(page))) ?? {}
    } catch {
      // Nothing was kept, or it is not ours.
    }
  }
  return pages[page]
}

export function keep(page) {
  try {
    localStorage.setItem(key(page), JSON.stringify(pages[page]))
  } catch {
    // See above.
  }
}

export function forget(page) {
  for (const n of Object.keys(pages[page])) {
    delete pages[page][n]
  }
  keep(page)
}

// Whether an answer is right; null if only its reader can say.
export function judge(form, said) {
  if (form.kind === 'number') {
    return Number(said) >= form.from && Number(said) <= form.to
  }
  return form.right?.length ? form.right.includes(said) : null
}
