-- A function of a superuser among the app's own
-- refused: other-credentials
-- names: helper
-- part: superuser
CREATE FUNCTION public.helper() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
