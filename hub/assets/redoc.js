// Shows the document of this hub, with fonts that every system has.
const sans = "system-ui, sans-serif";
const mono = "ui-monospace, monospace";
Redoc.init(
  "/openapi.json",
  {
    theme: {
      typography: { fontFamily: sans, headings: { fontFamily: sans }, code: { fontFamily: mono } },
    },
  },
  document.getElementById("reference"),
);
