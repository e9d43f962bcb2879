// The browser sends the password that it got this page with. Not a relative address: it would have the page's own user and
// password in it where those stand in the page's address, and no script may ask for such.
SwaggerUIBundle({
  url: new URL('openapi.json', location.origin + location.pathname).href,
  dom_id: '#description',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
