// What Fastify's command starts.
module.exports = async (app, _options) => app.get('/', async () => 'hello');
