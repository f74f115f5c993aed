// Starts Swagger UI on our document. The installed version reads OpenAPI 3.0, which names the same things that our
// document uses of 3.1, so it is only told another version number.

(async () => {
  const place = document.getElementById("reference");
  const answer = await fetch(place.dataset.document);
  const spec = await answer.json();
  spec.openapi = "3.0.3";
  place.replaceChildren();
  window.SwaggerUIBundle({
    spec,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    presets: [window.SwaggerUIBundle.presets.apis],
    validatorUrl: null,
  });
})();
