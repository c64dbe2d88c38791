// What every page has at its top: the way to the other pages, who is signed in, the language, and the sound.

import { el } from "./elements.js";
import { startSession } from "./session.js";
import { startSound } from "./sound.js";
import { languageChoice, t } from "./words.js";

const PAGES = [
  ["/", "Ward"],
  ["/inbox", "Inbox"],
  ["/on-call", "On call"],
];

/** Builds the top; gives the session once the server has said who is signed in. */
export function startPage() {
  const top = document.querySelector(".top");
  top.querySelector("nav")?.remove();
  const nav = el("nav", { class: "pages", "aria-label": t("Pages") }, PAGES.map(([href, name]) => el("a", { href, "aria-current": location.pathname === href && "page" }, t(name))));
  top.querySelector(".brand").after(nav);
  top.querySelector("#acting").before(languageChoice());
  const bar = el("section", { class: "sound-bar", "aria-label": t("Alarm sound") });
  document.getElementById("banner").before(bar);
  startSound(bar);
  return startSession();
}
