// Dialogs: a form over the page that is closed by Escape, by Cancel, or by being taken.

import { el } from "./elements.js";
import { t } from "./words.js";

/** A dialog with a form of those children; its id names the form and the title too. */
export function dialog(id, title, ...children) {
  return el("dialog", { id, "aria-labelledby": `${id}-title` }, el("form", { method: "dialog" }, el("h2", { id: `${id}-title` }, title), ...children));
}

/** Cancel, and the button that submits. */
export function dialogButtons(word) {
  const cancel = el("button", { type: "button" }, t("Cancel"));
  cancel.addEventListener("click", () => cancel.closest("dialog").close("cancel"));
  return el("div", { class: "dialog-buttons" }, cancel, el("button", { type: "submit", class: "primary" }, word));
}

/** Shows a dialog and resolves with whether it was taken; `submit` may refuse by giving false. */
export function ask(shown, submit) {
  const form = shown.querySelector("form");
  return new Promise((resolve) => {
    const onSubmit = async (event) => {
      event.preventDefault();
      if (await submit()) shown.close("done");
    };
    const onClose = () => {
      form.removeEventListener("submit", onSubmit);
      resolve(shown.returnValue === "done");
    };
    shown.returnValue = "";
    form.addEventListener("submit", onSubmit);
    shown.addEventListener("close", onClose, { once: true });
    shown.showModal();
  });
}
