// Evaluates a Tiltfile with Tilt's own dialect of Starlark and prints the calls that it makes as JSON. The functions are
// stubs that know Tilt's parameters and nothing else: no command runs, nothing is built or applied.
//
//	tiltfile FILE <answers.json
//
// Paths are relative to the working directory. The answers say, as an object, what each command that `local` may run prints.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	starlarkjson "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
	"sigs.k8s.io/yaml"
)

// Read in https://docs.tilt.dev/api.html and in Tilt's source of August 2026. What follows a "?" may be left out. A function
// that is missing here is undefined for the Tiltfile; add it with all of its parameters.
var signatures = map[string][]string{
	"docker_build": {"ref", "context", "build_args?", "dockerfile??", "dockerfile_contents?", "cache?", "live_update?",
		"match_in_env_vars?", "ignore?", "only?", "entrypoint?", "container_args?", "target?", "ssh?", "secret?", "network?",
		"extra_tag?", "cache_from?", "pull?", "platform?", "extra_hosts?"},
	"encode_yaml": {"obj"},
	"helm":        {"paths", "name?", "namespace?", "values?", "set?", "kube_version?", "skip_crds?"},
	"k8s_kind":    {"kind", "image_json_path?", "api_version?", "image_object?", "pod_readiness?"},
	"k8s_resource": {"workload?", "new_name?", "port_forwards?", "extra_pod_selectors?", "trigger_mode?", "resource_deps?",
		"objects?", "auto_init?", "pod_readiness?", "links?", "labels?", "discovery_strategy?"},
	"k8s_yaml": {"yaml", "allow_duplicates?"},
	"local":    {"command", "quiet?", "command_bat?", "echo_off?", "env?", "dir?", "stdin?"},
	"local_resource": {"name", "cmd?", "deps?", "trigger_mode?", "resource_deps?", "ignore?", "auto_init?", "serve_cmd?",
		"cmd_bat?", "serve_cmd_bat?", "allow_parallel?", "links?", "labels?", "env?", "serve_env?", "readiness_probe?", "dir?",
		"serve_dir?"},
	"read_yaml": {"paths", "default?"},
}

var dialect = &syntax.FileOptions{Set: true, While: true, TopLevelControl: true, GlobalReassign: true, Recursion: true}

// blob is Tilt's text that is content: a plain string is the name of a file. Of a chart it has the call only, whoever
// reads the calls renders it.
type blob struct {
	Call int    `json:"call"`
	Text string `json:"text"`
}

func (blob) String() string        { return "blob" }
func (blob) Type() string          { return "blob" }
func (blob) Freeze()               {}
func (blob) Truth() starlark.Bool  { return true }
func (blob) Hash() (uint32, error) { return 0, errors.New("a blob is no key") }

// MarshalJSON is how Starlark's encoder writes values that are not its own.
func (b blob) MarshalJSON() ([]byte, error) {
	type plain blob
	return json.Marshal(plain(b))
}

type call struct {
	Function  string                     `json:"function"`
	Line      int32                      `json:"line"`
	Arguments map[string]json.RawMessage `json:"arguments"`
}

type evaluation struct {
	answers map[string]string
	calls   []call
}

func main() {
	if err := run(); err != nil {
		var evaluation *starlark.EvalError
		if errors.As(err, &evaluation) {
			err = errors.New(evaluation.Backtrace())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: tiltfile FILE <answers.json")
	}
	var e evaluation
	if err := json.NewDecoder(os.Stdin).Decode(&e.answers); err != nil {
		return fmt.Errorf("the answers on standard input: %w", err)
	}
	defined := starlark.StringDict{}
	for name, parameters := range signatures {
		defined[name] = e.stub(name, parameters)
	}
	thread := &starlark.Thread{Name: "Tiltfile", Print: func(_ *starlark.Thread, text string) { fmt.Fprintln(os.Stderr, text) }}
	if _, err := starlark.ExecFileOptions(dialect, thread, os.Args[1], nil, defined); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(e.calls)
}

// stub takes these parameters and refuses others, notes the call, and gives what the function gives.
func (e *evaluation) stub(name string, parameters []string) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(
		thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple,
	) (starlark.Value, error) {
		values := make([]starlark.Value, len(parameters))
		var pairs []any
		for i, parameter := range parameters {
			pairs = append(pairs, parameter, &values[i])
		}
		if err := starlark.UnpackArgs(name, args, kwargs, pairs...); err != nil {
			return nil, err
		}
		noted := call{name, thread.CallFrame(1).Pos.Line, map[string]json.RawMessage{}}
		for i, value := range values {
			if value == nil || value == starlark.None {
				continue
			}
			text, err := encode(thread, value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			noted.Arguments[strings.TrimRight(parameters[i], "?")] = json.RawMessage(text)
		}
		e.calls = append(e.calls, noted)
		return e.result(thread, name, values[0])
	})
}

func (e *evaluation) result(thread *starlark.Thread, name string, first starlark.Value) (starlark.Value, error) {
	switch name {
	case "helm":
		return blob{Call: len(e.calls) - 1}, nil
	case "encode_yaml":
		// JSON is YAML.
		text, err := encode(thread, first)
		return blob{Call: len(e.calls) - 1, Text: text}, err
	case "local":
		command, _ := starlark.AsString(first)
		answer, known := e.answers[command]
		if !known {
			return nil, fmt.Errorf("local: the test has no answer for the command %s", first)
		}
		return blob{Call: len(e.calls) - 1, Text: answer}, nil
	case "read_yaml":
		path, _ := starlark.AsString(first)
		return read(thread, path)
	}
	return starlark.None, nil
}

func read(thread *starlark.Thread, path string) (starlark.Value, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if text, err = yaml.YAMLToJSON(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return starlark.Call(thread, starlarkjson.Module.Members["decode"], starlark.Tuple{starlark.String(text)}, nil)
}

func encode(thread *starlark.Thread, value starlark.Value) (string, error) {
	text, err := starlark.Call(thread, starlarkjson.Module.Members["encode"], starlark.Tuple{value}, nil)
	if err != nil {
		return "", err
	}
	return string(text.(starlark.String)), nil
}
