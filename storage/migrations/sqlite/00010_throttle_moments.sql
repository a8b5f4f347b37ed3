-- The moments of the last events of a key, newest first, 16 digits of microseconds each: a limit that no stretch of time exceeds. The
-- columns t1 to t4 go on for limits of many, and for a program of the release before.
-- +goose Up
ALTER TABLE throttle_windows ADD COLUMN hits TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE throttle_windows DROP COLUMN hits;
