-- What staff wrote to a topic's followers. Its id is the event of its send; `request_key` keeps a repeated request from
-- writing it twice.
CREATE TABLE notify.posts (
    post_id uuid PRIMARY KEY,
    topic_id uuid NOT NULL REFERENCES notify.topics (topic_id) ON DELETE CASCADE,
    author_id uuid NOT NULL,
    request_key text NOT NULL CHECK (length(request_key) BETWEEN 1 AND 255),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
    body text NOT NULL CHECK (length(body) BETWEEN 1 AND 2000),
    channels text[] NOT NULL CHECK (channels <@ '{email,inbox}'::text[] AND cardinality(channels) > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT post_written_once UNIQUE (author_id, request_key)
);
CREATE INDEX posts_topic ON notify.posts (topic_id);
