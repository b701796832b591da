// The chosen colours, before anything is drawn: a page that was dark does not flash white.
try {
  const kept = localStorage.getItem("pando-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  // Without storage the system's colours are shown.
}
