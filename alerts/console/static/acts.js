// What a person does about an alert: acknowledge, pause, put off, resume. Sent as commands, under a name.

import { el, setAttribute, setText } from "./elements.js";
import { announce, serverClock } from "./live.js";
import { messageOf, t } from "./words.js";

const STORED = "biotwin-author";
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
        "aria-label": `${t(ACTS[act].word).replace(" …", "")}: ${whom}, ${messageOf(alert)}`,
      },
      t(ACTS[act].word),
    ),
  );
}

// ---- Who acts --------------------------------------------------------------------------------------------------------

let asks = null; // "token", "name" or "nothing"; null while the server has not said
let author = null;

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}

function headersOf({ token, name }) {
  if (token) return { Authorization: `Bearer ${token}` };
  return name ? { "Biotwin-Author": encodeURIComponent(name) } : {};
}

/** Asks the server who these credentials are; null where it does not know them. */
async function whoIs(credentials) {
  const answer = await fetch("/api/author", { headers: headersOf(credentials), cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return null;
  const found = await answer.json();
  asks = found.asks;
  return found.author;
}

function showAuthor() {
  setText(document.getElementById("author-text"), author ? t("Acting as {who}", { who: author }) : "");
  const change = document.getElementById("author-change");
  setText(change, author ? t("Change") : t("Sign your acts"));
  change.hidden = asks === "nothing" || asks === null;
}

function build() {
  const field = el("input", { id: "author-field", name: "author", required: true, maxlength: 200, autocomplete: "off", "aria-describedby": "author-hint" });
  const label = el("label", { for: "author-field" });
  const refused = el("p", { id: "author-refused", class: "refused", role: "alert" });
  const who = el(
    "dialog",
    { id: "author-dialog", "aria-labelledby": "author-title" },
    el("form", { id: "author-form", method: "dialog" }, el("h2", { id: "author-title" }, "Who are you?"), label, field, el("p", { id: "author-hint", class: "fine" }), refused,
      el("div", { class: "dialog-buttons" }, el("button", { type: "button", "data-close": true }, "Cancel"), el("button", { type: "submit", class: "primary" }, "Continue"))),
  );
  const off = el(
    "dialog",
    { id: "off-dialog", "aria-labelledby": "off-title", "aria-describedby": "off-about" },
    el("form", { id: "off-form", method: "dialog" }, el("h2", { id: "off-title" }, "Put the alert off"), el("p", { id: "off-about" }),
      el("label", { for: "off-reason" }, "Reason (no names)"), el("input", { id: "off-reason", required: true, maxlength: 200, autocomplete: "off" }),
      el("label", { for: "off-span" }, "For"), el("select", { id: "off-span" }),
      el("p", { class: "fine" }, "It comes back by itself: at the end of this time, with a higher priority, or when you resume it."),
      el("div", { class: "dialog-buttons" }, el("button", { type: "button", "data-close": true }, "Cancel"), el("button", { type: "submit", class: "primary" }, "Put off"))),
  );
  document.body.append(who, off);
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

async function askAuthor() {
  const byToken = asks === "token";
  const field = document.getElementById("author-field");
  field.type = byToken ? "password" : "text";
  field.value = "";
  setText(document.querySelector('label[for="author-field"]'), byToken ? "Your personal token" : "Your name or staff id");
  setText(document.getElementById("author-hint"), byToken ? "What you do is signed with the token's holder." : "What you do is signed with it. It is kept until this tab closes.");
  const refused = document.getElementById("author-refused");
  setText(refused, "");
  return ask(document.getElementById("author-dialog"), async () => {
    const credentials = byToken ? { token: field.value.trim() } : { name: field.value.trim() };
    const found = await whoIs(credentials);
    if (!found) {
      setText(refused, byToken ? "That token is not known here." : "That cannot be a name.");
      return false;
    }
    author = found;
    sessionStorage.setItem(STORED, JSON.stringify(credentials));
    showAuthor();
    return true;
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
  if (asks === null) author = await whoIs(stored());
  if (asks === null) return refuse(button, t("the console does not answer"));
  if (asks === "nothing") return refuse(button, "acting needs named tokens, and none is configured here");
  if (!author && !(await askAuthor())) return button.focus();
  const extra = act === "alarm_off" ? await askOff(button) : act === "audio_pause" ? { duration_s: PAUSE_S } : (ACTS[act].fields ?? {});
  if (!extra) return button.focus();
  setAttribute(button, "aria-disabled", "true");
  const answer = await fetch(`/api/commands/${ACTS[act].kind ?? act}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headersOf(stored()) },
    body: JSON.stringify({ patient, alert, ...extra }),
  }).catch(() => null);
  if (answer?.status === 202) {
    announce(`${ACTS[act].done} by ${author}: sent.`, "polite");
    setTimeout(() => {
      if (!button.isConnected || !button.getAttribute("aria-disabled")) return;
      setAttribute(button, "aria-disabled", null);
      announce("Not confirmed yet: the alert stands as before.", "assertive");
    }, UNCONFIRMED_MS);
    return;
  }
  setAttribute(button, "aria-disabled", null);
  if (answer?.status === 401) {
    author = null;
    sessionStorage.removeItem(STORED);
    showAuthor();
  }
  const why = answer ? ((await answer.json().catch(() => null))?.error ?? `status ${answer.status}`) : "the console does not answer";
  refuse(button, why);
}

/** Sends a command under the author's name; "" when it was taken, else why not. */
export async function send(kind, fields) {
  if (asks === null) author = await whoIs(stored());
  if (asks === null) return t("the console does not answer");
  if (!author && (asks === "nothing" || !(await askAuthor()))) return t("nobody has signed it");
  const answer = await fetch(`/api/commands/${kind}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headersOf(stored()) },
    body: JSON.stringify(fields),
  }).catch(() => null);
  if (answer?.status === 202) return "";
  return answer ? ((await answer.json().catch(() => null))?.error ?? t("status {status}", { status: answer.status })) : t("the console does not answer");
}

/** Who acts here, null where nobody has signed yet. */
export function actor() {
  return author;
}

/** Says what went wrong, aloud and beside the button. */
function refuse(button, why) {
  announce(t("Not done: {why}", { why }), "assertive");
  const line = button.parentElement.querySelector(".act-refused") ?? el("span", { class: "act-refused" });
  setText(line, t("Not done: {why}", { why }));
  button.parentElement.append(line);
}

/** Makes the page's buttons work and says who acts. */
export async function startActing() {
  build();
  const credentials = stored();
  author = await whoIs(credentials);
  showAuthor();
  document.getElementById("author-change").addEventListener("click", askAuthor);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-act]");
    if (button) perform(button);
  });
}
