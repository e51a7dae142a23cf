// Shows the document of this hub; requests that are tried out go to this hub, too.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  // A validator elsewhere would be sent the document's address.
  validatorUrl: null,
  // Otherwise `?url=` would show the document of another host.
  queryConfigEnabled: false,
});
