// Who is on call in which role, and since when; taking, handing over and releasing a role.

import { send, startActing } from "./acts.js";
import { el, renderIfChanged, setText } from "./elements.js";
import { clockTime } from "./format.js";
import { Live, announce, serverClock } from "./live.js";
import { startPage } from "./page.js";
import { may } from "./session.js";
import { sound } from "./sound.js";
import { keep, station } from "./station.js";
import { t } from "./words.js";

const RELOAD_MS = 5000;
const byId = (id) => document.getElementById(id);
const patients = new Map();

function card(role) {
  const field = `to-${role.role}`;
  const said = el("p", { class: "act-refused", role: "status" });
  const button = (kind, word) => el("button", { type: kind === "hand_over_role" ? "submit" : "button", class: "act", "data-command": kind, "data-focus": `${role.role} ${kind}` }, word, el("span", { class: "unseen" }, ` ${role.role}`));
  const form = el(
    "form",
    { class: "acts" },
    button("take_role", t("Take over")),
    role.holder && button("release_role", t("Release")),
    el("span", { class: "hand-over" },
      el("label", { for: field }, t("Hand over to")),
      el("input", { id: field, maxlength: 200, autocomplete: "off", required: true, "data-focus": `${role.role} to` }),
      button("hand_over_role", t("Hand over"))),
  );
  const act = (kind, fields) => perform(kind, { role: role.role, ...fields }, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("hand_over_role", { to: byId(field).value.trim() });
  });
  for (const kind of ["take_role", "release_role"]) form.querySelector(`[data-command=${kind}]`)?.addEventListener("click", () => act(kind, {}));
  return el(
    "li",
    { class: "role", "data-role": role.role },
    el("h2", {}, role.role),
    el("p", {}, role.holder ? el("strong", { class: "holder" }, role.holder) : el("strong", { class: "holder nobody" }, t("Nobody is on call"))),
    role.holder && el("p", { class: "fine" }, [t("since {time}", { time: clockTime(role.since) }), role.until && t("until {time}", { time: clockTime(role.until) })].filter(Boolean).join(t(", "))),
    may("take_role") && form,
    said,
  );
}

async function perform(kind, fields, said) {
  const why = document.body.dataset.connection === "lost" ? t("the console does not answer") : await send(kind, fields);
  const text = why ? t("Not done: {why}", { why }) : t("Sent.");
  setText(said, text);
  announce(text, why ? "assertive" : "polite");
  if (!why) setTimeout(load, 500);
}

async function load() {
  const answer = await fetch("/api/oncall", { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  const { roles } = await answer.json();
  renderIfChanged(byId("rows"), JSON.stringify(roles.map(({ role, holder, since, until }) => [role, holder, since, until])), () => roles.map(card));
  byId("empty").hidden = roles.length > 0;
  setText(byId("empty"), t("No role has been taken yet."));
}

function take(rows) {
  for (const row of rows) patients.set(row.patient, row.listed ? row.alerts : []);
  sound([...patients.values()].flat());
}

byId("take").addEventListener("submit", (event) => {
  event.preventDefault();
  const hours = byId("take-hours").value;
  perform("take_role", { role: byId("take-role").value.trim(), ...(hours ? { until: serverClock.now() + Number(hours) * 3600 } : {}) }, byId("take-said"));
});

byId("station-name").value = station();
byId("station").addEventListener("submit", (event) => {
  event.preventDefault();
  if (keep(byId("station-name").value.trim())) location.assign("/on-call");
  else setText(byId("station-said"), t("A station's name has small letters, digits and dashes."));
});

startActing();
await startPage();
byId("take").hidden = !may("take_role");
byId("take-not").hidden = may("take_role");
load();
new Live({}, { reset: (rows) => (patients.clear(), take(rows)), rows: take, alert() {} });
setInterval(load, RELOAD_MS);
