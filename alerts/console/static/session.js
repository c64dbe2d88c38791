// Who is signed in, what the role may do, and the way out.

import { setAttribute, setText } from "./elements.js";
import { announce } from "./live.js";
import { t } from "./words.js";

const ROLES = { clinician: "Clinician", charge_nurse: "Charge nurse", operator: "Operator", auditor: "Auditor", machine: "System" };

let session = null;

/** Asks the server until it has said who is signed in; null where it does not answer. */
export async function signedIn() {
  if (session) return session;
  const answer = await fetch("/api/session", { cache: "no-store" }).catch(() => null);
  if (answer?.status === 401) location.assign("/login");
  session = answer?.ok ? await answer.json() : null;
  show();
  return session;
}

/** The account that is signed in, null while that is not known. */
export function actor() {
  return session?.account ?? null;
}

/** Whether the role may give commands of this kind. */
export function may(kind) {
  return session?.commands.includes(kind) ?? false;
}

export function roleWords(role) {
  return ROLES[role] ? t(ROLES[role]) : role;
}

function show() {
  const text = document.getElementById("author-text");
  setText(text, session ? t("Acting as {who}", { who: session.account }) : "");
  setAttribute(text, "title", session ? roleWords(session.role) : null);
  document.getElementById("author-change").hidden = !session;
}

async function signOut() {
  const answer = await fetch("/logout", { method: "POST" }).catch(() => null);
  if (answer?.ok) location.assign("/login?out");
  else announce(t("Not signed out: the console does not answer."), "assertive");
}

/** Makes "Sign out" work and says who is signed in. */
export function startSession() {
  document.getElementById("author-change").addEventListener("click", signOut);
  return signedIn();
}
