// Says why the form is shown again; a one-time link carries its secret behind the #, which no server or log sees.

import { languageChoice, t } from "./words.js";

document.getElementById("main").append(languageChoice());

const query = new URLSearchParams(location.search);
const said = document.getElementById("refused");
if (query.has("refused")) said.textContent = t("That was not accepted. After several wrong tries the console waits up to five minutes.");
else if (query.has("out")) said.textContent = t("You are signed out.");

const link = new URLSearchParams(location.hash.slice(1)).get("link");
if (link) {
  history.replaceState(null, "", "/login");
  const form = document.createElement("form");
  form.method = "post";
  form.action = "/login";
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "link";
  field.value = link;
  form.append(field);
  document.body.append(form);
  form.submit();
}
