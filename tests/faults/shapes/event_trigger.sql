-- An event trigger of the app's own, which takes a superuser
-- refused: not-restorable, other-credentials
-- names: watch_ddl
CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
-- part: superuser
CREATE EVENT TRIGGER watch_ddl ON ddl_command_end EXECUTE FUNCTION public.note_ddl();
