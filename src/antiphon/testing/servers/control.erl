%% Evaluated by the private RabbitMQ at its start (file:eval, by rabbitmq_private.py).
%%
%% 1. Loads modules of the broker on every core.  RabbitMQ loads them one by one
%%    when it first meets them; that is most of its start time.
%% 2. Opens a Unix socket in the server's private folder, on which the owner
%%    evaluates expressions: a virtual host is made in some 50 ms, where
%%    rabbitmqctl takes seconds to start an Erlang of its own.
lists:foreach(
    fun(Wanted) ->
        spawn(fun() ->
            Folders = [D || D <- code:get_path(), lists:any(
                fun(App) -> string:find(D, "/" ++ App ++ "-") =/= nomatch end, Wanted)],
            [case file:list_dir(Folder) of
                {ok, Names} ->
                    code:ensure_modules_loaded(
                        [list_to_atom(filename:rootname(N))
                            || N <- Names, filename:extension(N) =:= ".beam"]);
                _ -> ok
            end || Folder <- Folders]
        end)
    end,
    [["rabbit"], ["rabbit_common", "mnesia", "ra", "osiris", "ssl", "public_key", "ranch"]]).

spawn(fun() ->
    {ok, Listener} = gen_tcp:listen(0,
        [binary, {ifaddr, {local, os:getenv("ANTIPHON_CONTROL")}}, {packet, 4}, {active, false}]),
    Evaluate = fun(Text) ->
        try
            {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text)),
            {ok, Expressions} = erl_parse:parse_exprs(Tokens),
            {value, Value, _} = erl_eval:exprs(Expressions, []),
            io_lib:format("ok ~0tp", [Value])
        catch Class:Reason ->
            io_lib:format("error ~0tp: ~0tp", [Class, Reason])
        end
    end,
    Serve = fun Serve(Socket) ->
        case gen_tcp:recv(Socket, 0) of
            {ok, Text} ->
                gen_tcp:send(Socket, unicode:characters_to_binary(Evaluate(Text))),
                Serve(Socket);
            _ -> gen_tcp:close(Socket)
        end
    end,
    Accept = fun Accept() ->
        {ok, Socket} = gen_tcp:accept(Listener),
        Pid = spawn(fun() -> receive go -> Serve(Socket) end end),
        ok = gen_tcp:controlling_process(Socket, Pid),
        Pid ! go,
        Accept()
    end,
    Accept()
end).
