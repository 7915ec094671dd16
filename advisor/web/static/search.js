// The search field: says to assistive technology that what was typed is not understood. The answer itself says why.

const field = document.getElementById("q");
document.body.addEventListener("htmx:afterSettle", () => {
  if (!field) return;
  const trouble = document.getElementById("search-error")?.textContent.trim();
  if (trouble) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
});
