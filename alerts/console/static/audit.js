// The newest records of the audit journal, and whether its chain holds.

import { el, setText } from "./elements.js";
import { clockTime } from "./format.js";
import { roleWords } from "./session.js";
import { languageChoice, t } from "./words.js";

const WHAT = { "sign-in": "Sign in", "sign-out": "Sign out", account: "Account", view: "View", act: "Act" };
const OUTCOMES = { allowed: "allowed", refused: "refused" };
const byId = (id) => document.getElementById(id);

function line(record) {
  const what = WHAT[record.what] ? t(WHAT[record.what]) : record.what;
  return el("tr", {},
    el("td", {}, clockTime(record.t)),
    el("td", {}, record.account || t("unknown")),
    el("td", {}, roleWords(record.role)),
    el("td", {}, `${what} `, el("code", {}, record.target), record.names ? ` (${t("with names")})` : ""),
    el("td", {}, [record.patient, record.alert].filter(Boolean).join(", ")),
    el("td", { "data-outcome": record.outcome }, OUTCOMES[record.outcome] ? t(OUTCOMES[record.outcome]) : record.outcome),
  );
}

document.querySelector(".top form").before(languageChoice());
const answer = await fetch("/api/audit", { cache: "no-store" }).catch(() => null);
const body = await answer?.json().catch(() => null);
if (!answer?.ok) {
  setText(byId("verdict"), body?.error ?? t("the console does not answer"));
} else {
  const { records, head, fault } = body.verdict;
  setText(byId("verdict"), fault ? t("The chain is broken: {fault}.", { fault }) : t("The chain holds over {records} records. Its head is {head}.", { records, head }));
  byId("records").replaceChildren(...body.records.map(line));
}
