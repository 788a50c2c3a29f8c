// A Node process that has nothing to do.
setInterval(() => {}, 2 ** 30);
