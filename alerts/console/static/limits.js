// A patient's own limits: what they are called, and the form that changes them.

import { send } from "./acts.js";
import { ask, dialog, dialogButtons } from "./dialog.js";
import { el, setText } from "./elements.js";
import { announce, serverClock } from "./live.js";
import { may } from "./session.js";
import { t } from "./words.js";

/** By field of the command: name, unit, least, greatest (as the command takes them), and the short name in a chart. */
export const LIMITS = {
  heart_rate_low: ["Heart rate, lower limit", "/min", 20, 200, "lower limit"],
  heart_rate_high: ["Heart rate, upper limit", "/min", 40, 250, "upper limit"],
  heart_rate_maximum: ["Heart rate, maximum", "/min", 60, 250, "maximum"],
  zone_low: ["Target zone, from", "/min", 30, 230, "from"],
  zone_high: ["Target zone, up to", "/min", 40, 250, "up to"],
  spo2_floor: ["SpO₂, floor", "%", 50, 100, "floor"],
  systolic_low: ["Systolic, lower limit", "mmHg", 40, 200, "lower limit"],
  systolic_high: ["Systolic, upper limit", "mmHg", 80, 300, "upper limit"],
  diastolic_high: ["Diastolic, upper limit", "mmHg", 40, 200, "upper limit"],
};
const SPANS = [
  [3600, "1 h"],
  [14_400, "4 h"],
  [43_200, "12 h"],
  [86_400, "24 h"],
  [259_200, "3 d"],
  [604_800, "7 d"],
];
const byId = (id) => document.getElementById(id);

function form() {
  const fields = Object.entries(LIMITS).map(([name, [words, unit, least, greatest]]) =>
    el("div", {}, el("label", { for: `limit-${name}` }, `${t(words)} `, el("span", { class: "unit" }, unit)), el("input", { id: `limit-${name}`, type: "number", min: least, max: greatest, step: "any", inputmode: "decimal" })),
  );
  return dialog("limits-dialog", t("Change this patient's limits"),
    el("p", { class: "fine" }, t("An empty field leaves the rules' own limit. What stands here replaces what was set before.")),
    el("div", { class: "limit-fields" }, fields),
    el("label", { for: "limit-reason" }, t("Reason (no names)")),
    el("input", { id: "limit-reason", required: true, maxlength: 200, autocomplete: "off" }),
    el("label", { for: "limit-span" }, t("For")),
    el("select", { id: "limit-span", required: true }, el("option", { value: "" }, t("Choose …")), SPANS.map(([seconds, words]) => el("option", { value: seconds }, t(words)))),
    el("p", { id: "limit-refused", class: "refused", role: "alert" }),
    dialogButtons(t("Set the limits")),
  );
}

/** Puts the button for changing limits into `host`, where the role may; `current` gives those in force. */
export function startLimits(host, patient, current) {
  if (!may("limits")) return host.replaceChildren(el("span", { class: "quiet" }, t("Your role does not change limits.")));
  document.body.append(form());
  const button = el("button", { type: "button", class: "act", id: "limits-open" }, t("Change the limits"));
  button.addEventListener("click", () => change(patient, current()));
  host.replaceChildren(button);
}

async function change(patient, current) {
  for (const name of Object.keys(LIMITS)) byId(`limit-${name}`).value = current[name] ?? "";
  for (const id of ["limit-reason", "limit-span"]) byId(id).value = "";
  setText(byId("limit-refused"), "");
  const done = await ask(byId("limits-dialog"), async () => {
    const given = Object.keys(LIMITS).filter((name) => byId(`limit-${name}`).value !== "");
    const limits = Object.fromEntries(given.map((name) => [name, Number(byId(`limit-${name}`).value)]));
    const reason = byId("limit-reason").value.trim();
    const names = Object.fromEntries(Object.entries(LIMITS).map(([name, [words]]) => [name, t(words)]));
    const why = reason ? await send("limits", { patient, ...limits, reason, expires_at: serverClock.now() + Number(byId("limit-span").value) }, names) : t("say why");
    setText(byId("limit-refused"), why && t("Not done: {why}", { why }));
    return !why;
  });
  if (done) announce(t("New limits: sent."), "polite");
  byId("limits-open").focus();
}
