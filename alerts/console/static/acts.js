// What a person does about an alert: acknowledge, pause, put off, resume. Sent as commands by whoever is signed in.

import { el, setAttribute, setText } from "./elements.js";
import { announce, serverClock } from "./live.js";

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
        "data-focus": `${alert.id} ${act}`,
        "aria-label": `${ACTS[act].word.replace(" …", "")}: ${whom}, ${alert.message}`,
      },
      ACTS[act].word,
    ),
  );
}

// ---- Who acts --------------------------------------------------------------------------------------------------------

let session = null; // { account, role, commands }; null while the server has not said

async function whoIs() {
  const answer = await fetch("/api/session", { cache: "no-store" }).catch(() => null);
  if (answer?.status === 401) location.assign("/login");
  return answer?.ok ? answer.json() : null;
}

function showAuthor() {
  setText(document.getElementById("author-text"), session ? `Acting as ${session.account}` : "");
  document.getElementById("author-change").hidden = !session;
}

async function signOut() {
  const answer = await fetch("/logout", { method: "POST" }).catch(() => null);
  if (answer?.ok) location.assign("/login?out");
  else announce("Not signed out: the console does not answer.", "assertive");
}

function build() {
  const off = el(
    "dialog",
    { id: "off-dialog", "aria-labelledby": "off-title", "aria-describedby": "off-about" },
    el("form", { id: "off-form", method: "dialog" }, el("h2", { id: "off-title" }, "Put the alert off"), el("p", { id: "off-about" }),
      el("label", { for: "off-reason" }, "Reason (no names)"), el("input", { id: "off-reason", required: true, maxlength: 200, autocomplete: "off" }),
      el("label", { for: "off-span" }, "For"), el("select", { id: "off-span" }),
      el("p", { class: "fine" }, "It comes back by itself: at the end of this time, with a higher priority, or when you resume it."),
      el("div", { class: "dialog-buttons" }, el("button", { type: "button", "data-close": true }, "Cancel"), el("button", { type: "submit", class: "primary" }, "Put off"))),
  );
  document.body.append(off);
  for (const button of document.querySelectorAll("dialog [data-close]")) button.addEventListener("click", () => button.closest("dialog").close("cancel"));
}

/** Shows a dialog and resolves with whether it was submitted; `submit` may refuse by returning false. */
function ask(dialog, submit) {
  const form = dialog.querySelector("form");
  return new Promise((resolve) => {
    const onSubmit = async (event) => {
      event.preventDefault();
      if (await submit()) dialog.close("done");
    };
    const onClose = () => {
      form.removeEventListener("submit", onSubmit);
      resolve(dialog.returnValue === "done");
    };
    dialog.returnValue = "";
    form.addEventListener("submit", onSubmit);
    dialog.addEventListener("close", onClose, { once: true });
    dialog.showModal();
  });
}

// ---- Acting ----------------------------------------------------------------------------------------------------------

async function askOff(button) {
  const most = button.dataset.priority === "high" ? HIGH_MOST_S : Infinity;
  setText(document.getElementById("off-about"), button.getAttribute("aria-label").replace(/^Off: /, ""));
  document.getElementById("off-reason").value = "";
  document.getElementById("off-span").replaceChildren(...SPANS.filter(([seconds]) => seconds <= most).map(([seconds, words]) => el("option", { value: seconds }, words)));
  const meant = await ask(document.getElementById("off-dialog"), () => document.getElementById("off-reason").value.trim() !== "");
  if (!meant) return null;
  const seconds = Number(document.getElementById("off-span").value);
  return { reason: document.getElementById("off-reason").value.trim(), expires_at: serverClock.now() + seconds };
}

async function perform(button) {
  const { act, patient, alert } = button.dataset;
  if (button.getAttribute("aria-disabled")) return;
  session ??= await whoIs();
  if (!session) return refuse(button, "the console does not answer");
  const kind = ACTS[act].kind ?? act;
  if (!session.commands.includes(kind)) return refuse(button, `the role ${session.role.replace("_", " ")} does not act on alerts`);
  const extra = act === "alarm_off" ? await askOff(button) : act === "audio_pause" ? { duration_s: PAUSE_S } : (ACTS[act].fields ?? {});
  if (!extra) return button.focus();
  setAttribute(button, "aria-disabled", "true");
  const answer = await fetch(`/api/commands/${kind}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ patient, alert, ...extra }),
  }).catch(() => null);
  if (answer?.status === 202) {
    announce(`${ACTS[act].done} by ${session.account}: sent.`, "polite");
    setTimeout(() => {
      if (!button.isConnected || !button.getAttribute("aria-disabled")) return;
      setAttribute(button, "aria-disabled", null);
      announce("Not confirmed yet: the alert stands as before.", "assertive");
    }, UNCONFIRMED_MS);
    return;
  }
  setAttribute(button, "aria-disabled", null);
  if (answer?.status === 401) return location.assign("/login");
  const why = answer ? ((await answer.json().catch(() => null))?.error ?? `status ${answer.status}`) : "the console does not answer";
  refuse(button, why);
}

/** Says what went wrong, aloud and beside the button. */
function refuse(button, why) {
  announce(`Not done: ${why}`, "assertive");
  const line = button.parentElement.querySelector(".act-refused") ?? el("span", { class: "act-refused" });
  setText(line, `Not done: ${why}`);
  button.parentElement.append(line);
}

/** Makes the page's buttons work and says who acts. */
export async function startActing() {
  build();
  session = await whoIs();
  showAuthor();
  document.getElementById("author-change").addEventListener("click", signOut);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-act]");
    if (button) perform(button);
  });
}
