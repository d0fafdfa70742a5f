-- The schema public with a comment and grants of the app's own
COMMENT ON SCHEMA public IS 'ours';
GRANT CREATE ON SCHEMA public TO PUBLIC;
GRANT USAGE ON SCHEMA public TO :"other" WITH GRANT OPTION;
