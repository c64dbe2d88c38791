// Every alert that stands, of all wards: the most urgent first, those that nobody has answered before the others.

import { actButtons, actor, startActing } from "./acts.js";
import { el, priorityMark, renderIfChanged, setText } from "./elements.js";
import { PRIORITIES, PRIORITY_MARKS, PRIORITY_WORDS, learnSignals, minuteTime, signalWords, span, spoken, typeset } from "./format.js";
import { Live, announceAlert, announceSignals, serverClock } from "./live.js";
import { startPage } from "./page.js";
import { sound } from "./sound.js";
import { messageOf, t } from "./words.js";

const ANSWERED = ["acknowledged", "alarm_off"];
const patients = new Map();
const byId = (id) => document.getElementById(id);

function wanted([row, alert]) {
  if (byId("ward-choice").value && row.ward !== byId("ward-choice").value) return false;
  if (byId("priority-choice").value && alert.priority !== byId("priority-choice").value) return false;
  return !byId("mine").checked || (actor() && alert.signal?.holder === actor());
}

function compare([, a], [, b]) {
  const answered = (alert) => Number(ANSWERED.includes(alert.signal?.state));
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
      el("span", {}, href ? el("a", { class: "patient-name", href, tabindex: "-1" }, who) : el("strong", {}, who), row.ward && el("span", { class: "pseudonym" }, ` ${row.ward}`)),
      el("span", { class: "message" }, typeset(messageOf(alert)))),
    el("span", { class: "since", "data-onset": alert.onset_t }),
    el("span", { class: "signal" }, el("span", { class: "signal-words" }, signalWords(alert.signal)), el("span", { class: "acts" }, actButtons(row.patient, alert, who))),
  );
}

function render() {
  const all = [...patients.values()].flatMap((row) => row.alerts.map((alert) => [row, alert]));
  sound(all.map(([, alert]) => alert));
  const wards = [...new Set([...patients.values()].map((row) => row.ward).filter(Boolean))].sort();
  const chosen = byId("ward-choice").value;
  renderIfChanged(byId("ward-choice"), JSON.stringify(wards), () => [el("option", { value: "" }, t("All wards")), ...wards.map((ward) => el("option", { value: ward, selected: ward === chosen }, ward))]);
  const found = all.filter(wanted).sort(compare);
  const key = JSON.stringify(found.map(([row, alert]) => [row.name, row.bed, row.ward, alert.id, alert.message, alert.priority, alert.signal?.sequence]));
  renderIfChanged(byId("rows"), key, () => found.map(item));
  const now = serverClock.now();
  for (const since of document.querySelectorAll("[data-onset]")) {
    const onset = Number(since.dataset.onset);
    setText(since, t("{time}, {span} ago", { time: minuteTime(onset), span: span(now - onset) }));
  }
  setText(byId("count"), t("{count} of {all} alerts", { count: found.length, all: all.length }));
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
learnSignals((await (await fetch("/api/signals")).json()).signals);
new Live({}, {
  reset(rows) {
    patients.clear();
    take(rows);
  },
  rows: take,
  alert: (alert) => announceAlert(alert, spoken(patients.get(alert.patient) ?? { patient: alert.patient }), PRIORITY_WORDS),
});
setInterval(() => patients.size && render(), 1000);
