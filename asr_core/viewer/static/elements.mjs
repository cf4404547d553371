// Small makers of page elements. Text goes in as text, never as HTML.

export function node(tag, className = "", text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(text, label, onClick) {
  const element = node("button", "", text);
  element.type = "button";
  element.setAttribute("aria-label", label);
  element.title = label;
  element.addEventListener("click", onClick);
  return element;
}

export function choice(label, options, chosen, onChange) {
  const element = node("select");
  element.setAttribute("aria-label", label);
  element.title = label;
  for (const [value, text] of options) {
    const option = node("option", "", text);
    option.value = value;
    option.selected = value === chosen;
    element.append(option);
  }
  element.addEventListener("change", () => onChange(element.value));
  return element;
}
