-- Whether the message of a code has left is asked by the code's page, once it is late.
-- +goose Up
CREATE INDEX outbox_ticket ON outbox (ticket) WHERE ticket <> '';

-- +goose Down
DROP INDEX outbox_ticket;
