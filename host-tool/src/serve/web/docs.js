// The OpenAPI document as a page: by tag, each operation with its example, parameters, body and answers.

import { fill, h } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];
const PROBLEMS = ["bad-request", "unauthorized", "forbidden", "not-found", "method-not-allowed", "timeout", "conflict", "too-large", "unsupported-media-type", "misdirected", "unusable-photo", "internal", "door-failed", "busy"];

const place = document.getElementById("docs");
const api = await fetch("/api/v1/openapi.json").then((response) => response.json());

const operations = Object.entries(api.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));

fill(place, h("h1", {}, "Facelatch API"),
  h("p.lead", {}, `Version ${api.info.version}, OpenAPI ${api.openapi}: `, h("a", { href: "/api/v1/openapi.json" }, "the document itself"), ". ", h("a", { href: "/" }, "The console"), "."),
  h("br"), api.info.description.split("\n\n").map((text) => h("p", {}, marked(text))),
  h("p.soft", {}, "In the examples ", h("code", {}, "$FACELATCH"), " is this server's address, ", h("code", {}, "$TOKEN"), " the token, and ", h("code", {}, "$AUTH"), " is ", h("code", {}, "Authorization: Bearer $TOKEN"), "."),
  h("nav", { "aria-label": "Operations" }, h("ul.toc", {}, operations.map((one) => h("li", {}, h("a", { href: `#${one.operationId}` }, one.summary))))),
  api.tags.map((tag) => [h("h2", { id: `tag-${tag.name}` }, title(tag.name)), h("p.soft", {}, tag.description),
    operations.filter((one) => one.tags?.includes(tag.name)).map(operation)]),
  h("h2", {}, "Types"), Object.entries(api.components.schemas).map(([name, schema]) => h("section.operation", { id: `type-${name}` },
    h("h3", {}, name), schema.description ? h("p.soft", {}, marked(schema.description)) : null, properties(schema))),
  h("h2", {}, "Problems"), h("p.soft", {}, "The type of a problem leads here; its detail says what happened, and what can be done."),
  h("ul", {}, PROBLEMS.map((name) => h("li", { id: `problem-${name}` }, h("code", {}, name)))));
document.getElementById(location.hash.slice(1))?.scrollIntoView();

function operation(one) {
  const example = one["x-codeSamples"]?.[0]?.source;
  const open = Array.isArray(one.security) && one.security.some((way) => !Object.keys(way).length);
  return h("section.operation", { id: one.operationId }, h("h3", {}, h("span.method", {}, one.method.toUpperCase()), h("span.path", {}, one.path)),
    h("p", {}, marked(one.summary), open ? h("span.soft", {}, " (no token needed)") : null), one.description ? one.description.split("\n\n").map((text) => h("p.soft", {}, marked(text))) : null,
    example ? h("pre", { tabindex: 0, "aria-label": "Example" }, h("code", {}, example)) : null,
    one.parameters?.length ? table("Parameters", ["Name", "In", "Type", "About"], one.parameters.map((p) => [h("code", {}, p.name), p.in, type(p.schema), marked(p.description ?? "")])) : null,
    one.requestBody ? h("p.small", {}, "Body: ", Object.entries(one.requestBody.content).flatMap(([media, { schema }], i) => [i ? ", or " : "", h("code", {}, media), " ", type(schema)])) : null,
    table("Answers", ["Status", "Body", "About"], Object.entries(one.responses).sort().map(([status, answer]) => [h("span.num", {}, status),
      Object.entries(answer.content ?? {}).map(([media, { schema }]) => h("div", {}, h("code", {}, media), " ", type(schema))), marked(answer.description)])));
}

function properties(schema) {
  if (schema.enum) return h("p", {}, schema.enum.map((value, i) => [i ? ", " : "", h("code", {}, String(value))]));
  const variants = schema.oneOf ?? schema.allOf;
  if (variants) return h("ul", {}, variants.map((one) => h("li", {}, one.const !== undefined || one.enum ? h("code", {}, String(one.const ?? one.enum)) : type(one), " ", one.description ?? "")));
  if (!schema.properties) return h("p", {}, type(schema));
  return table("Properties", ["Name", "Type", "About"], Object.entries(schema.properties).map(([name, one]) => [h("code", {}, name), type(one), marked(one.description ?? "")]));
}

function type(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return h("a", { href: `#type-${name}` }, name);
  }
  if (schema.oneOf || schema.anyOf) return h("span", {}, (schema.oneOf ?? schema.anyOf).map((one, i) => [i ? " or " : "", type(one)]));
  if (schema.type === "array" || schema.prefixItems) return h("span", {}, "list of ", type(schema.items ?? schema.prefixItems?.[0]));
  const names = [schema.type].flat().filter(Boolean).join(" or ");
  return schema.format === "binary" ? "file" : names || "anything";
}

function table(caption, columns, rows) {
  return h("div.scroll", {}, h("table", {}, h("caption.visually-hidden", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell)))))));
}

/** Text with `code` in it. */
function marked(text) {
  return text.split("`").map((piece, i) => (i % 2 ? h("code", {}, piece) : piece));
}

/** Hoisted, as all here: the page above is made before this line is reached. */
function title(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
