// The language of the pages. The English text is the key; words.ja.json says the same in Japanese.

const STORED = "biotwin-language";
const LANGUAGES = { en: "English", ja: "日本語" };

function chosen() {
  let kept = null;
  try {
    kept = localStorage.getItem(STORED);
  } catch {
    // Storage is closed to this page: the browser's own language counts.
  }
  return kept in LANGUAGES ? kept : (navigator.languages ?? [navigator.language]).map((one) => one.slice(0, 2)).find((one) => one in LANGUAGES) ?? "en";
}

export const language = chosen();
const words = language === "en" ? {} : await (await fetch(`/static/words.${language}.json`)).json();

/** `text` in the reader's language, with `{name}` filled in from `values`. */
export function t(text, values = {}) {
  return (words[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The sentence of an alert or of one of its transitions. */
export function messageOf(alert) {
  return (language === "ja" && alert.message_ja) || alert.message;
}

/** The language of that sentence where it is not the page's, else null. */
export function languageOf(alert) {
  return language === "en" || alert.message_ja ? null : "en";
}

/** A field to choose the language in; the page is loaded anew in it. */
export function languageChoice() {
  const select = document.createElement("select");
  select.id = "language";
  select.setAttribute("aria-label", t("Language"));
  for (const [code, name] of Object.entries(LANGUAGES)) {
    const option = new Option(name, code, code === language, code === language);
    option.lang = code;
    select.append(option);
  }
  select.addEventListener("change", () => {
    localStorage.setItem(STORED, select.value);
    location.reload();
  });
  return select;
}

/** Puts the page's own text, as it stands in the HTML file, into the reader's language. */
function translatePage() {
  document.documentElement.lang = language;
  document.title = document.title.split(" · ").map((part) => t(part)).join(" · ");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const text = node.data.trim();
    if (text in words) node.data = node.data.replace(text, words[text]);
  }
  for (const name of ["aria-label", "placeholder", "title"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, t(element.getAttribute(name)));
  }
}

translatePage();
