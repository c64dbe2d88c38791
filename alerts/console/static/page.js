// What every page has at its top: the way to the other pages, the language, and the sound.

import { el } from "./elements.js";
import { startSound } from "./sound.js";
import { LANGUAGES, choose, language, t } from "./words.js";

const PAGES = [
  ["/", "Ward"],
  ["/inbox", "Inbox"],
  ["/on-call", "On call"],
];

export function startPage() {
  const top = document.querySelector(".top");
  top.querySelector("nav")?.remove();
  const nav = el("nav", { class: "pages", "aria-label": t("Pages") }, PAGES.map(([href, name]) => el("a", { href, "aria-current": location.pathname === href && "page" }, t(name))));
  top.querySelector(".brand").after(nav);
  const select = el("select", { id: "language", "aria-label": t("Language") }, Object.entries(LANGUAGES).map(([code, name]) => el("option", { value: code, lang: code, selected: code === language }, name)));
  select.addEventListener("change", () => choose(select.value));
  top.querySelector("#acting").before(select);
  const bar = el("section", { class: "sound-bar", "aria-label": t("Alarm sound") });
  document.getElementById("banner").before(bar);
  startSound(bar);
}
