export * from './adamw';
export * from './schedule';
