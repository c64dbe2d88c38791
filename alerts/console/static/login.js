// Says why the form is shown again.
if (new URLSearchParams(location.search).has("refused")) {
  document.getElementById("refused").textContent = "That token was not accepted.";
}
