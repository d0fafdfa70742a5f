-- What Heroku puts into every database, shortened by what concerns extensions that only Heroku has.
-- For a superuser, in one transaction. inventory.py says where it comes from.

CREATE SCHEMA _heroku AUTHORIZATION heroku_admin;
GRANT USAGE ON SCHEMA _heroku TO PUBLIC;
SET LOCAL ROLE heroku_admin;

CREATE FUNCTION _heroku.create_ext() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    made record;
    databaseowner name := (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database());
BEGIN
    FOR made IN
        SELECT e.extname, n.nspname
          FROM pg_event_trigger_ddl_commands() c
          JOIN pg_extension e ON c.classid = 'pg_extension'::regclass AND e.oid = c.objid
          JOIN pg_namespace n ON n.oid = e.extnamespace
         WHERE c.command_tag = 'CREATE EXTENSION'
    LOOP
        RAISE LOG 'extension % created in % by %', made.extname, made.nspname, session_user;
        IF made.extname = 'dict_int' THEN
            EXECUTE format('ALTER TEXT SEARCH DICTIONARY %I.intdict OWNER TO %I', made.nspname, databaseowner);
        ELSIF made.extname = 'pg_stat_statements' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %I.pg_stat_statements_reset TO %I', made.nspname, databaseowner);
        ELSIF made.extname = 'postgis' THEN
            PERFORM _heroku.postgis_after_create();
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION _heroku.drop_ext() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    dropped record;
BEGIN
    FOR dropped IN SELECT object_name FROM pg_event_trigger_dropped_objects() WHERE object_type = 'extension' LOOP
        RAISE LOG 'extension % dropped by %', dropped.object_name, session_user;
    END LOOP;
END $$;

CREATE FUNCTION _heroku.extension_before_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF tg_tag = 'DROP EXTENSION' AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)
       AND current_query() ~* 'DROP\s+EXTENSION\s[^;]*\mplpgsql\M' THEN
        RAISE EXCEPTION 'The plpgsql extension is required for database management and cannot be dropped.';
    END IF;
END $$;

CREATE FUNCTION _heroku.validate_extension() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_event_trigger_ddl_commands() c
          JOIN pg_extension e ON c.classid = 'pg_extension'::regclass AND e.oid = c.objid
         WHERE c.command_tag = 'CREATE EXTENSION' AND e.extnamespace = '_heroku'::regnamespace
    ) THEN
        RAISE EXCEPTION 'Creating extensions in the _heroku schema is not allowed';
    END IF;
END $$;

CREATE FUNCTION _heroku.postgis_after_create() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    schemaname name := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                         WHERE e.extname = 'postgis');
    databaseowner name := (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database());
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I.spatial_ref_sys TO %I', schemaname, databaseowner);
END $$;
REVOKE ALL ON FUNCTION _heroku.postgis_after_create() FROM PUBLIC;

-- What Heroku's CLI calls for `pg:outliers --reset`.
CREATE FUNCTION _heroku.pg_stat_statements_reset() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    schemaname name := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                         WHERE e.extname = 'pg_stat_statements');
BEGIN
    EXECUTE format('SELECT %I.pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()',
                   schemaname);
END $$;

CREATE EVENT TRIGGER extension_before_drop ON ddl_command_start EXECUTE FUNCTION _heroku.extension_before_drop();
CREATE EVENT TRIGGER log_create_ext ON ddl_command_end EXECUTE FUNCTION _heroku.create_ext();
CREATE EVENT TRIGGER log_drop_ext ON sql_drop EXECUTE FUNCTION _heroku.drop_ext();
CREATE EVENT TRIGGER validate_extension ON ddl_command_end EXECUTE FUNCTION _heroku.validate_extension();

RESET ROLE;
