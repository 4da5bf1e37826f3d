// Making elements, saying things, asking before what cannot be undone. Knows nothing of people or doors.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button.primary", { onclick, disabled }, "Save")`. Text is always text. */
export function h(spec, attributes = {}, ...children) {
  return build(document.createElement(spec.split(".")[0]), spec, attributes, children);
}

/** An SVG element. */
export function s(spec, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, spec.split(".")[0]), spec, attributes, children);
}

function build(element, spec, attributes, children) {
  const classes = spec.split(".").slice(1);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts these in place of what is there. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A page's head: title, what it is about, and what can be done. */
export function head(title, lead, ...actions) {
  return h("div.head", {},
    h("div", {}, h("h1", { tabindex: -1 }, title), lead ? h("p.lead", {}, lead) : null),
    actions.length ? h("div.row", {}, actions) : null);
}

/** Says something for a while; screen readers hear it. */
export function say(text, kind = "") {
  const toast = h("div.toast", {}, text);
  if (kind) toast.classList.add(kind);
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), kind === "bad" ? 9000 : 5000);
}

/** Does something, and says so if it fails. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, "bad");
    return undefined;
  }
}

/** A click that does something that takes a while: the button waits meanwhile. */
export function doing(work) {
  return async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    await attempt(() => work(event));
    button.disabled = false;
  };
}

/** Asks in a dialog; the form's values, or null if it was left. */
export function ask({ title, text, fields = [], yes, danger = false }) {
  const inputs = fields.map((field) => h("label.field", {}, h("span", {}, field.label),
    h("input", { name: field.name, value: field.value ?? "", required: field.required, maxlength: field.maxlength ?? 64, autocomplete: "off" }),
    field.hint ? h("small", {}, field.hint) : null));
  const submit = h(danger ? "button.danger" : "button.primary", { type: "submit", value: "yes" }, yes);
  const form = h("form", { method: "dialog" }, h("h2", {}, title), text ? h("p", {}, text) : null, inputs,
    h("div.row", {}, h("button", { type: "submit", value: "", formnovalidate: true }, "Cancel"), submit));
  const dialog = h("dialog", { "aria-label": title }, form);
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector("input") ?? submit).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const values = Object.fromEntries(new FormData(form));
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? values : null);
    });
    // The first button of a form takes the Enter key, which here is Cancel.
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.tagName === "INPUT") {
        event.preventDefault();
        form.requestSubmit(submit);
      }
    });
  });
}

/** A place to drop photos, with a button for those who do not drag. */
export function dropZone({ text, label, multiple = true, take, more = [] }) {
  const input = h("input.visually-hidden", { type: "file", accept: "image/jpeg,image/png,image/webp,image/bmp", multiple, tabindex: -1, "aria-label": label, onchange: () => {
    if (input.files.length) take([...input.files]);
    input.value = "";
  } });
  const zone = h("div.drop", {}, h("p", {}, text),
    h("div.row", {}, h("button.primary", { type: "button", onclick: () => input.click() }, label), more), input);
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...event.dataTransfer.files].filter((file) => file.type.startsWith("image/"));
    if (files.length) take(multiple ? files : files.slice(0, 1));
    else say("Those are no pictures.", "bad");
  });
  return zone;
}

export const percent = (share) => `${Math.round(share * 1000) / 10} %`;
export const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;
export const time = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const moment = (ms) => new Date(ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
