// Sets the theme before anything is drawn, so that nothing flashes. Kept in this browser only.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("advisor.theme"); } catch { /* storage is switched off: the system decides */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
