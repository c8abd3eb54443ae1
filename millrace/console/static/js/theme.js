// Sets the chosen theme before anything is drawn. Not a module: a module would run after the first paint.
(function () {
  try {
    const chosen = localStorage.getItem("millrace-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (error) {
    // Storage may be forbidden; then the system's theme holds.
  }
})();
