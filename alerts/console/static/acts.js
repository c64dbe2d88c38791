// What a person does about an alert: acknowledge, pause, put off, resume. Sent as commands by whoever is signed in.

import { ask, dialog, dialogButtons } from "./dialog.js";
import { el, setAttribute, setText } from "./elements.js";
import { announce, serverClock } from "./live.js";
import { actor, may, signedIn } from "./session.js";
import { messageOf, t } from "./words.js";

const UNCONFIRMED_MS = 10_000;
const PAUSE_S = 120;
const SPANS = [
  [900, "15 min"],
  [1800, "30 min"],
  [3600, "1 h"],
  [14_400, "4 h"],
  [86_100, "24 h"],
];
const HIGH_MOST_S = 3600;

const ACTS = {
  acknowledge: { word: "Acknowledge", done: "Acknowledged" },
  audio_pause: { word: "Pause audio", done: "Audio paused" },
  alarm_off: { word: "Off …", done: "Put off" },
  alarm_resume: { word: "Resume", done: "Resumed" },
  useful: { word: "Useful", done: "Found useful", kind: "feedback", fields: { useful: true } },
  not_useful: { word: "Not useful", done: "Found not useful", kind: "feedback", fields: { useful: false } },
};

/** Acts that make sense in a state of the signal; the first is the one a ward row offers. */
const OFFERED = {
  on: ["acknowledge", "audio_pause", "alarm_off"],
  acknowledged: ["alarm_resume", "alarm_off"],
  audio_paused: ["acknowledge", "alarm_resume", "alarm_off"],
  alarm_off: ["alarm_resume", "acknowledge"],
  latched: ["acknowledge", "audio_pause"],
  latched_audio_paused: ["acknowledge", "alarm_resume"],
  inactive: [],
};

/** What the server says when it refuses a command, and how that is said to a reader. */
const REFUSALS = [
  [/^(\w+): (\S+) is not in (\S+)\.\.(\S+)$/, "{a}: {b} does not lie between {c} and {d}"],
  [/^(\w+): lies not below (\w+)$/, "{a} must lie below {b}"],
  [/^(\w+): lies not after t$/, "the end must lie in the future"],
  [/^the role \S+ may not /, "your role does not allow it"],
];

/** Buttons for an alert; none where its signal is not known (yet). `only` limits them to some acts. */
export function actButtons(patient, alert, whom, only = null) {
  const offered = (OFFERED[alert.signal?.state] ?? []).filter((act) => !only || only.includes(act));
  return buttons(offered, patient, alert, whom);
}

/** Buttons to say whether an alert was worth the interruption, while it stands and afterwards. */
export function feedbackButtons(patient, alert, whom) {
  return buttons(["useful", "not_useful"], patient, alert, whom);
}

function buttons(offered, patient, alert, whom) {
  return offered.map((act) =>
    el(
      "button",
      {
        type: "button",
        class: `act act-${act}`,
        "data-act": act,
        "data-patient": patient,
        "data-alert": alert.id,
        "data-priority": alert.priority,
        "data-about": `${whom}, ${messageOf(alert)}`,
        "data-focus": `${alert.id} ${act}`,
        "aria-label": `${t(ACTS[act].word).replace(/\s?…$/, "")}: ${whom}, ${messageOf(alert)}`,
      },
      t(ACTS[act].word),
    ),
  );
}

/** Sends a command in the name of whoever is signed in; "" when it was taken, else why not. `names` says what fields are called. */
export async function send(kind, fields, names = {}) {
  if (!(await signedIn())) return t("the console does not answer");
  if (!may(kind)) return t("your role does not allow it");
  const answer = await fetch(`/api/commands/${kind}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(fields),
  }).catch(() => null);
  if (answer?.status === 202) return "";
  if (answer?.status === 401) location.assign("/login");
  if (!answer) return t("the console does not answer");
  const error = (await answer.json().catch(() => null))?.error;
  return error ? refusal(error, names) : t("status {status}", { status: answer.status });
}

function refusal(error, names) {
  for (const [pattern, text] of REFUSALS) {
    const found = pattern.exec(error);
    if (!found) continue;
    const [a, b, c, d] = found.slice(1).map((part) => names[part] ?? part);
    return t(text, { a, b, c, d });
  }
  return error;
}

// ---- The dialog for putting an alert off -----------------------------------------------------------------------------

function offDialog() {
  return dialog("off-dialog", t("Put the alert off"),
    el("p", { id: "off-about" }),
    el("label", { for: "off-reason" }, t("Reason (no names)")),
    el("input", { id: "off-reason", required: true, maxlength: 200, autocomplete: "off" }),
    el("label", { for: "off-span" }, t("For")),
    el("select", { id: "off-span" }),
    el("p", { class: "fine" }, t("It comes back by itself: at the end of this time, with a higher priority, or when you resume it.")),
    dialogButtons(t("Put off")),
  );
}

async function askOff(button) {
  const most = button.dataset.priority === "high" ? HIGH_MOST_S : Infinity;
  setText(document.getElementById("off-about"), button.dataset.about);
  document.getElementById("off-reason").value = "";
  document.getElementById("off-span").replaceChildren(...SPANS.filter(([seconds]) => seconds <= most).map(([seconds, words]) => el("option", { value: seconds }, t(words))));
  const meant = await ask(document.getElementById("off-dialog"), () => document.getElementById("off-reason").value.trim() !== "");
  if (!meant) return null;
  const seconds = Number(document.getElementById("off-span").value);
  return { reason: document.getElementById("off-reason").value.trim(), expires_at: serverClock.now() + seconds };
}

// ---- Acting ----------------------------------------------------------------------------------------------------------

async function perform(button) {
  const { act, patient, alert } = button.dataset;
  if (button.getAttribute("aria-disabled")) return;
  const kind = ACTS[act].kind ?? act;
  if (!(await signedIn())) return refuse(button, t("the console does not answer"));
  if (!may(kind)) return refuse(button, t("your role does not allow it"));
  const extra = act === "alarm_off" ? await askOff(button) : act === "audio_pause" ? { duration_s: PAUSE_S } : (ACTS[act].fields ?? {});
  if (!extra) return button.focus();
  setAttribute(button, "aria-disabled", "true");
  const why = await send(kind, { patient, alert, ...extra });
  if (why) {
    setAttribute(button, "aria-disabled", null);
    return refuse(button, why);
  }
  announce(t("{done} by {who}: sent.", { done: t(ACTS[act].done), who: actor() }), "polite");
  setTimeout(() => {
    if (!button.isConnected || !button.getAttribute("aria-disabled")) return;
    setAttribute(button, "aria-disabled", null);
    announce(t("Not confirmed yet: the alert stands as before."), "assertive");
  }, UNCONFIRMED_MS);
}

/** Says what went wrong, aloud and beside the button. */
function refuse(button, why) {
  announce(t("Not done: {why}", { why }), "assertive");
  const line = button.parentElement.querySelector(".act-refused") ?? el("span", { class: "act-refused" });
  setText(line, t("Not done: {why}", { why }));
  button.parentElement.append(line);
}

/** Makes the buttons for alerts work. */
export function startActing() {
  document.body.append(offDialog());
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-act]");
    if (button) perform(button);
  });
}
