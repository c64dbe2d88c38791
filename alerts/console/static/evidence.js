// Why an alert was raised: the value, its limit, what is usual for this person, and the inputs with age and quality.

import { el } from "./elements.js";
import { clockTime, isoTime, label, number, span, unit, valueWithUnit } from "./format.js";
import { t } from "./words.js";

/** Where alerts that stand began, for a chart of these signals: what an alert is about, else what it rests on. */
export function onsetsOf(alerts, signals) {
  const about = ({ evidence: found }) => found && (signals.includes(found.channel) || found.inputs?.every((input) => signals.includes(input.signal)));
  return alerts.filter(about).map((alert) => ({ t: alert.onset_t, priority: alert.priority }));
}

export function evidence(alert) {
  const found = alert.evidence;
  if (!found) return el("p", { class: "quiet" }, t("This alert carries no evidence."));
  const known = (value) => value !== null && value !== undefined;
  const range = known(found.low) && known(found.high) ? ` ${t("(possible {low} to {high})", { low: number(found.channel, found.low), high: number(found.channel, found.high) })}` : "";
  const limit = `${Number(found.threshold.toFixed(2))} ${unit(found.channel)}`.trim();
  return el(
    "div",
    { class: "evidence" },
    el(
      "dl",
      { class: "decision" },
      pair(label(found.channel), `${valueWithUnit(found.channel, found.value)}${range}`),
      pair(t("Limit"), found.limit_from === "patient" ? t("{limit}, set for this patient", { limit }) : t("{limit}, of the rule", { limit })),
      found.missing?.length ? pair(t("Missing"), found.missing.map(label).join(t(", "))) : null,
      pair(t("Rule"), alert.rule),
      pair(t("Source"), alert.source || t("unknown"), alert.source ? "en" : null),
    ),
    found.inputs?.length ? inputs(found.inputs) : null,
    el("p", { class: "fine hashes" }, t("Model {model} · rules {rules} · alert {alert}", { model: found.model.slice(0, 12) || "–", rules: found.configuration.slice(0, 12) || "–", alert: alert.id.slice(0, 16) })),
  );
}

function inputs(rows) {
  const headings = ["Input", "Value", "Measured", "Age then", "Quality", "Usual"];
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Inputs") },
    el(
      "table",
      { class: "inputs" },
      el("thead", {}, el("tr", {}, headings.map((heading) => el("th", { scope: "col" }, t(heading))))),
      el(
        "tbody",
        {},
        rows.map((input) =>
          el(
            "tr",
            { title: t("Reading {id}", { id: input.reading }) },
            el("th", { scope: "row" }, label(input.signal)),
            el("td", {}, valueWithUnit(input.signal, input.value)),
            el("td", {}, el("time", { datetime: isoTime(input.t) }, clockTime(input.t))),
            el("td", {}, span(input.age_s)),
            el("td", {}, `${Math.round(input.quality * 100)} %`),
            el("td", {}, usual(input)),
          ),
        ),
      ),
    ),
  );
}

/** What the values of this person were before, at the moment of the alert. */
function usual({ signal, baseline }) {
  if (!baseline || baseline.mean === null || !baseline.count) return "–";
  const spread = baseline.scale === null ? "" : ` ± ${number(signal, 2 * baseline.scale)}`;
  return `${number(signal, baseline.mean)}${spread}`;
}

function pair(term, text, lang = null) {
  return el("div", {}, el("dt", {}, term), el("dd", { lang }, text));
}
