// What the console asks the server. Everything goes by the session's cookie and our own header.

let dataset = sessionStorage.getItem("dataset") ?? "main";
let signedOut = () => {};

export const user = () => dataset;
export const of = (path) => `/api/v1/datasets/${encodeURIComponent(dataset)}${path}`;
export const photoUrl = (person, photo, thumb = true) =>
  of(`/people/${encodeURIComponent(person)}/photos/${encodeURIComponent(photo)}${thumb ? "?thumb=true" : ""}`);

export function useDataset(name) {
  dataset = name;
  sessionStorage.setItem("dataset", name);
}

export function whenSignedOut(then) {
  signedOut = then;
}

/** Asks; the answer's JSON, or null if it has none. Failures are errors with the server's own words. */
export async function ask(method, path, body, more = {}) {
  const headers = { "X-Facelatch": "1", ...more.headers };
  let sent = body;
  if (body !== undefined && !(body instanceof FormData) && !(body instanceof Blob)) {
    headers["Content-Type"] = "application/json";
    sent = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, { method, headers, body: sent, signal: more.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer.");
  }
  if (response.status === 401 && !path.endsWith("/session")) signedOut();
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  const error = new Error(sentence(problem.detail ?? `The server answered ${response.status}.`));
  error.status = response.status;
  throw error;
}

export const get = (path) => ask("GET", path);
export const post = (path, body, more) => ask("POST", path, body, more);
export const put = (path, body) => ask("PUT", path, body);
export const remove = (path) => ask("DELETE", path);

/** What people are called: from an id to the name to show, or the id of somebody who is not in the dataset. */
export async function names() {
  const { people } = await get(of("/people"));
  const known = new Map(people.map((person) => [person.person, person.name]));
  return (id) => (id === "none" ? "nobody" : known.get(id) ?? id);
}

/** A form with photos. */
export function photos(files) {
  const form = new FormData();
  for (const file of files) form.append("photo", file, file.name ?? "camera.jpg");
  return form;
}

/** Follows a job to its end; `each` is told how it stands. */
export function follow(job, each) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/api/v1/jobs/${job.id}/events`);
    events.addEventListener("progress", (event) => each(JSON.parse(event.data)));
    const end = (event) => {
      events.close();
      const report = JSON.parse(event.data);
      each(report);
      if (report.state === "done") resolve(report.result);
      else reject(new Error(report.state === "cancelled" ? "Cancelled." : sentence(report.problem?.detail ?? "It failed.")));
    };
    for (const name of ["done", "failed", "cancelled"]) events.addEventListener(name, end);
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) reject(new Error("The server does not answer."));
    };
  });
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
