// React as it is deployed: renders come when they come, not when a test says so. Imported first.
process.env.NODE_ENV = "production";
