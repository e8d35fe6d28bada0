DROP INDEX holds_watch;
