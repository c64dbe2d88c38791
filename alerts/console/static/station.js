// Where this browser stands. A station that has to have a console open is missed when its browser is gone.

const STORED = "biotwin-station";
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;

/** The station's name; "" where none was given. `?station=` in the address of a page is kept. */
export function station() {
  const given = new URLSearchParams(location.search).get("station");
  if (given !== null) keep(given);
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return given ?? "";
  }
}

/** Keeps the name for this browser; says whether it can be one. "" forgets it. */
export function keep(name) {
  if (name && !NAME.test(name)) return false;
  localStorage.setItem(STORED, name);
  return true;
}
