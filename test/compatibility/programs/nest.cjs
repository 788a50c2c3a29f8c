// NestJS without a compiler: decorators are functions.
require('reflect-metadata');
const { Controller, Get, Module } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');

class Hello {
  hello() {
    return 'hello';
  }
  onApplicationShutdown(signal) {
    console.log(`shut down by ${signal}`);
  }
}
Get()(Hello.prototype, 'hello', Object.getOwnPropertyDescriptor(Hello.prototype, 'hello'));
Controller()(Hello);
class App {}
Module({ controllers: [Hello] })(App);

NestFactory.create(App, { logger: ['error', 'warn'] }).then((app) => app.enableShutdownHooks().listen(0, '127.0.0.1'));
