// Every alert that stands, of all wards: the most urgent first, those that nobody has answered before the others.

import { actButtons, startActing } from "./acts.js";
import { el, priorityMark, renderIfChanged, setText } from "./elements.js";
import { PRIORITIES, PRIORITY_MARKS, PRIORITY_WORDS, isUnanswered, isoTime, learnSignals, minuteTime, sentence, signalWords, span, spoken, titleOf, typeset } from "./format.js";
import { Live, announceAlert, announceSignals, serverClock } from "./live.js";
import { startPage } from "./page.js";
import { actor } from "./session.js";
import { sound } from "./sound.js";
import { languageOf, messageOf, t } from "./words.js";

const patients = new Map();
let loaded = false;
const byId = (id) => document.getElementById(id);

function wanted([row, alert]) {
  if (byId("ward-choice").value && row.ward !== byId("ward-choice").value) return false;
  if (byId("priority-choice").value && alert.priority !== byId("priority-choice").value) return false;
  if (byId("rule-choice").value && alert.rule !== byId("rule-choice").value) return false;
  if (byId("unanswered").checked && !isUnanswered(alert)) return false;
  return !byId("mine").checked || (actor() !== null && alert.signal?.holder === actor());
}

function compare([, a], [, b]) {
  const answered = (alert) => Number(!isUnanswered(alert));
  return PRIORITIES.indexOf(b.priority) - PRIORITIES.indexOf(a.priority) || answered(a) - answered(b) || b.onset_t - a.onset_t || a.id.localeCompare(b.id);
}

function item([row, alert]) {
  const href = row.patient ? `/patients/${encodeURIComponent(row.patient)}` : null;
  const who = spoken(row);
  return el(
    "li",
    { class: "inbox-row", tabindex: "0", "data-priority": alert.priority, "data-alert": alert.id, "data-href": href, "data-focus": `${alert.id} row`, "aria-label": `${PRIORITY_WORDS[alert.priority]}, ${who}, ${messageOf(alert)}` },
    priorityMark(alert.priority, PRIORITY_MARKS),
    el("span", { class: `tag tag-${alert.priority}` }, PRIORITY_WORDS[alert.priority]),
    el("span", { class: "inbox-text" },
      el("span", {}, href ? el("a", { class: "patient-name", href, tabindex: "-1" }, sentence(who)) : el("strong", {}, sentence(who)), row.ward && el("span", { class: "pseudonym" }, ` ${row.ward}`)),
      el("span", { class: "message", lang: languageOf(alert) }, typeset(messageOf(alert)))),
    el("time", { class: "since", datetime: isoTime(alert.onset_t), "data-onset": alert.onset_t }),
    el("span", { class: "signal" }, el("span", { class: "signal-words", "data-signal": alert.signal?.state }, sentence(signalWords(alert.signal))), el("span", { class: "acts" }, actButtons(row.patient, alert, who))),
  );
}

/** What may be chosen; a choice that is gone stays until it is changed, so that a filter never widens by itself. */
function offer(id, all, found) {
  const chosen = byId(id).value;
  const values = [...new Set([...found, chosen].filter(Boolean))].sort();
  renderIfChanged(byId(id), JSON.stringify(values), () => [el("option", { value: "" }, all), ...values.map((value) => el("option", { value, selected: value === chosen }, value))]);
}

function render() {
  const all = [...patients.values()].flatMap((row) => row.alerts.map((alert) => [row, alert]));
  sound(all.map(([, alert]) => alert));
  offer("ward-choice", t("All wards"), [...patients.values()].map((row) => row.ward));
  offer("rule-choice", t("All"), all.map(([, alert]) => alert.rule));
  const found = all.filter(wanted).sort(compare);
  const key = JSON.stringify(found.map(([row, alert]) => [row.name, row.bed, row.ward, alert.id, alert.message, alert.priority, alert.signal?.sequence]));
  renderIfChanged(byId("rows"), key, () => found.map(item));
  const now = serverClock.now();
  for (const since of document.querySelectorAll("[data-onset]")) {
    const onset = Number(since.dataset.onset);
    setText(since, t("{time}, {span} ago", { time: minuteTime(onset), span: span(now - onset) }));
  }
  setText(byId("count"), t("{count} of {all} alerts", { count: found.length, all: all.length }));
  document.title = titleOf(all.filter(([, alert]) => alert.priority === "high").length, t("Inbox"));
  byId("empty").hidden = found.length > 0;
  setText(byId("empty"), all.length ? t("No alert fits the filter.") : t("No active alert."));
}

function take(rows) {
  for (const row of rows) {
    announceSignals(patients.get(row.patient), row, spoken(row));
    if (row.listed) patients.set(row.patient, row);
    else patients.delete(row.patient);
  }
  render();
}

byId("rows").addEventListener("keydown", (event) => {
  const row = event.target;
  if (!row.matches(".inbox-row")) return;
  const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (event.key === "Enter" && row.dataset.href) location.assign(row.dataset.href);
  else if (next) next.focus();
  else return;
  event.preventDefault();
});
byId("filter").addEventListener("input", render);
byId("filter").addEventListener("submit", (event) => event.preventDefault());

startPage();
startActing();
await learnSignals();
new Live({}, {
  reset(rows) {
    loaded = true;
    patients.clear();
    take(rows);
  },
  rows: take,
  alert: (alert) => announceAlert(alert, spoken(patients.get(alert.patient) ?? { patient: alert.patient }), PRIORITY_WORDS),
});
setInterval(() => loaded && render(), 1000);
