// What was changed through this server, by whom and when.

import * as api from "./api.js";
import { h, head, moment } from "./dom.js";

export async function activity() {
  const { entries } = await api.get("/api/v1/audit?limit=200");
  const rows = entries.map((entry) => h("tr", {}, h("td.num", {}, moment(entry.unix_ms)), h("td", {}, entry.action), h("td", {}, entry.subject),
    h("td", {}, entry.operator || "–"), h("td", {}, entry.outcome)));
  return [head("Activity", "What was changed through this server. Each door keeps its own, tamper-evident record besides."),
    entries.length ? h("div.scroll", {}, h("table", {}, h("caption.visually-hidden", {}, "Changes, the latest first"),
      h("thead", {}, h("tr", {}, ["When", "What", "Where", "Who", "Outcome"].map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, rows)))
      : h("div.empty", {}, h("p", {}, "Nothing was changed yet."))];
}
