// Says why the form is shown again; a one-time link carries its secret behind the #, which no server or log sees.
const query = new URLSearchParams(location.search);
if (query.has("refused")) {
  document.getElementById("refused").textContent = "That was not accepted. After several wrong tries the console waits up to five minutes.";
} else if (query.has("out")) {
  document.getElementById("refused").textContent = "You are signed out.";
}
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
