// Training with its settings and progress, how well it went, and measuring recognition.

import * as api from "./api.js";
import { attempt, count, fill, h, head, percent, say } from "./dom.js";

/** What has to be trained, for pages where photos change. */
export function trainNotice(summary) {
  if (summary.people === 0 || (summary.ready && !summary.changed)) return null;
  const why = summary.ready ? "Photos have changed since the last training." : "The recogniser does not know these people yet.";
  return h("div.notice.warn", { role: "note" }, h("p", {}, why), h("a.button", { href: "#/training" }, "Train now"));
}

export async function training() {
  const [summary, { classifiers }, { evaluations }, { jobs }] = await Promise.all([
    api.get(api.of("")), api.get("/api/v1/models"), api.get(api.of("/evaluations")), api.get("/api/v1/jobs")]);
  const outcome = h("div", { id: "outcome", "aria-live": "polite" });
  const last = jobs.find((job) => job.about === api.user() && job.kind === "train");
  const choice = h("select", { id: "classifier", onchange: () => fill(parameters, inputs(chosen())) }, classifiers.map((one) => h("option", { value: one.name }, one.name)));
  const chosen = () => classifiers.find((one) => one.name === choice.value) ?? classifiers[0];
  const parameters = h("div.grid-2", {}, inputs(classifiers[0]));
  const start = h("button.primary", { type: "button" }, "Train");

  start.addEventListener("click", () => run(async () => {
    const query = new URLSearchParams({ classifier: choice.value });
    for (const input of parameters.querySelectorAll("input")) if (input.value !== input.defaultValue) query.set(input.name, input.value);
    return api.post(`${api.of("/train")}?${query}`);
  }));
  const run = async (begin) => {
    start.disabled = true;
    await attempt(async () => {
      const result = await watch(await begin(), outcome);
      fill(outcome, figures(result));
      say("Training is done.");
    });
    if (outcome.querySelector("progress")) fill(outcome);
    start.disabled = false;
  };
  if (last?.state === "running") run(async () => last);
  else if (last?.state === "done") fill(outcome, figures(last.result));

  const lead = summary.people ? `${count(summary.photos, "photo", "photos")} of ${count(summary.people, "person", "people")} in ${summary.user}, ${summary.none} of nobody.` : "Nobody is enrolled: add people first.";
  const state = summary.ready && !summary.changed
    ? h("div.notice", { role: "note" }, h("p", {}, "The recogniser knows everybody as they are."))
    : h("div.notice.warn", { role: "note" }, h("p", {}, summary.ready ? "Photos have changed since the last training." : "The recogniser is not up to date."));
  return [head("Training", lead, start), state, outcome,
    h("details", {}, h("summary", {}, "Settings"), h("div.stack", {}, h("label.field", {}, h("span", {}, "Classifier"), choice, h("small", {}, chosen().about)), parameters)),
    h("h2", {}, "How good is recognition?"), measuring(evaluations)];
}

function inputs(classifier) {
  return classifier.parameters.map((one) => h("label.field", {}, h("span", {}, one.name),
    h("input", { name: one.name, value: one.default, inputmode: "decimal" }), h("small", {}, one.about)));
}

/** Shows a job's progress, and waits for its end. */
export function watch(job, place) {
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const words = h("p.soft", { role: "status" }, "Starting…");
  const cancel = h("button.quiet", { type: "button", onclick: () => attempt(() => api.remove(`/api/v1/jobs/${job.id}`)) }, "Cancel");
  fill(place, h("div.stack", {}, bar, h("div.row", {}, words, cancel)), h("br"));
  return api.follow(job, (report) => {
    if (report.total > 0) {
      bar.max = report.total;
      bar.value = report.done;
    } else bar.removeAttribute("value");
    const steps = report.total > 0 && report.total < 100_000 ? `: ${report.done} of ${report.total}` : "";
    const phase = `${report.phase.charAt(0).toUpperCase()}${report.phase.slice(1)}`;
    fill(words, report.phase === "starting" ? "Starting…" : `${phase}${steps}`);
  });
}

function figures({ figures, refused }) {
  const cross = figures.cross_validation;
  const shown = [
    ["people", figures.people], ["templates", figures.templates], ["of nobody", figures.none],
    ["right on what it learned", percent(figures.accuracy)],
    cross ? ["right on what was left out", percent(cross.accuracy)] : null,
  ].filter(Boolean);
  const people = Object.entries(figures.per_person);
  return [h("dl.figures", {}, shown.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, String(value))))),
    refused.length ? h("div.notice.bad", {}, h("p", {}, refused.map((one) => `${one.person}/${one.photo}: ${one.why}`).join("; "))) : null,
    h("div.scroll", {}, h("table", {}, h("caption.visually-hidden", {}, "Person by person"),
      h("thead", {}, h("tr", {}, ["Person", "Templates", "Right", "Left out"].map((text, i) => h(i ? "th.num" : "th", { scope: "col" }, text)))),
      h("tbody", {}, people.map(([id, one]) => h("tr", {}, h("td", {}, h("a", { href: `#/people/${id}` }, id)),
        [one.templates, one.correct, one.correct_unseen ?? "–"].map((value) => h("td.num", {}, String(value)))))))), h("br")].filter(Boolean);
}

function measuring(evaluations) {
  const list = h("ul.answers", {}, evaluations.map(link));
  const place = h("div", { "aria-live": "polite" });
  const start = h("button", { type: "button", onclick: async () => {
    start.disabled = true;
    await attempt(async () => {
      const result = await watch(await api.post(api.of("/evaluations")), place);
      list.prepend(link(result.evaluation));
      say("The report is ready.");
    });
    fill(place);
    start.disabled = false;
  } }, "Measure");
  return h("div.stack", {}, h("p.soft", {}, "Compares every photo with every other: error rates with intervals, charts, and the pairs that go wrong, as one page."), place, h("div.row", {}, start), list);
}

const link = (name) => h("li", {}, h("a", { href: api.of(`/evaluations/${name}`), target: "_blank", rel: "noopener" }, `Report of ${name.slice(0, 10)}, ${name.slice(11, 19).replaceAll("-", ":")} UTC`));
