module go-json-pretty

go 1.21
