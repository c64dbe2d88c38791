// The newest records of the audit journal, and whether its chain holds.

import { el, setText } from "./elements.js";

const answer = await fetch("/api/audit", { cache: "no-store" });
const body = await answer.json();
if (!answer.ok) {
  setText(document.getElementById("verdict"), body.error);
} else {
  const { records, head, fault } = body.verdict;
  setText(document.getElementById("verdict"), fault ? `The chain is broken: ${fault}.` : `The chain holds over ${records} records. Its head is ${head}.`);
  document.getElementById("records").replaceChildren(
    ...body.records.map((record) =>
      el("tr", {},
        el("td", {}, new Date(record.t * 1000).toLocaleString()),
        el("td", {}, record.account || "unknown"),
        el("td", {}, record.role.replace("_", " ")),
        el("td", {}, `${record.what} ${record.target}${record.names ? ", with names" : ""}`),
        el("td", {}, [record.patient, record.alert].filter(Boolean).join(", ")),
        el("td", {}, record.outcome),
      ),
    ),
  );
}
