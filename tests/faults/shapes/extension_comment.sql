-- An extension whose comment is the app's own
-- differs: COMMENT -\.EXTENSION hstore => hstore
CREATE EXTENSION hstore;
COMMENT ON EXTENSION hstore IS 'for the facts';
