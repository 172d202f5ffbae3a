// @hocuspocus/server as its documentation starts it: no extension, so nothing is kept.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, port] = process.argv.slice(2)
const found = createRequire(`${folder}/package.json`).resolve('@hocuspocus/server')
const { Server } = await import(pathToFileURL(found))
const server = new Server({ port: Number(port), address: '127.0.0.1', quiet: true })
await server.listen()
